# Warnings, hardening and sanitizers as one target that every other target links.
add_library(pyfpm-options INTERFACE)
target_include_directories(pyfpm-options INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_definitions(pyfpm-options INTERFACE _GNU_SOURCE)
target_compile_options(pyfpm-options INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
  -Wno-format-nonliteral -fno-common)
if(PYFPM_WERROR)
  target_compile_options(pyfpm-options INTERFACE -Werror)
endif()

if(PYFPM_SANITIZE)
  target_compile_options(pyfpm-options INTERFACE -fsanitize=${PYFPM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(pyfpm-options INTERFACE -fsanitize=${PYFPM_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" OR CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(pyfpm-options INTERFACE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE)
  target_link_options(pyfpm-options INTERFACE -pie -Wl,-z,relro,-z,now)
endif()
