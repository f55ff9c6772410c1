# Run by the build (cmake -P): copies the sources of hosts and the headers they include to KIT, in the shape of the
# source tree, and writes STAMP, a C file with VERSION and a fingerprint of all sources that pyfpm and its hosts share
# or speak through.
cmake_policy(VERSION 3.18)
include("${SOURCE}/cmake/HostProgram.cmake") # for PYFPM_HOST_PLAIN_SOURCES

file(GLOB _kit RELATIVE "${SOURCE}" "${SOURCE}/base/*.h" "${SOURCE}/config/*.h" "${SOURCE}/fcgi/*.h"
  "${SOURCE}/pyhost/*.[ch]" "${SOURCE}/pyhost/*.py"
  "${SOURCE}/cmake/*.cmake" "${SOURCE}/cmake/*.py")
foreach(_plain IN LISTS PYFPM_HOST_PLAIN_SOURCES)
  list(REMOVE_ITEM _kit "pyhost/${_plain}")
endforeach()
list(REMOVE_ITEM _kit cmake/HostKit.cmake cmake/WriteHostKit.cmake)
foreach(_file IN LISTS _kit)
  configure_file("${SOURCE}/${_file}" "${KIT}/${_file}" COPYONLY)
endforeach()
configure_file("${SOURCE}/cmake/host-kit/CMakeLists.txt" "${KIT}/CMakeLists.txt" COPYONLY)

# What an earlier build left of files that are gone.
file(GLOB_RECURSE _there RELATIVE "${KIT}" "${KIT}/*")
list(REMOVE_ITEM _there CMakeLists.txt settings.cmake ${_kit})
foreach(_file IN LISTS _there)
  file(REMOVE "${KIT}/${_file}")
endforeach()

file(GLOB _sources RELATIVE "${SOURCE}" "${SOURCE}/base/*.[ch]" "${SOURCE}/config/*.[ch]" "${SOURCE}/fcgi/*.[ch]"
  "${SOURCE}/pyhost/*.[ch]" "${SOURCE}/pyhost/*.py")
list(SORT _sources)
set(_sums "")
foreach(_file IN LISTS _sources)
  file(SHA256 "${SOURCE}/${_file}" _sum)
  string(APPEND _sums "${_file} ${_sum}\n")
endforeach()
string(SHA256 _sum "${_sums}")
string(SUBSTRING "${_sum}" 0 12 _sum)
file(WRITE "${STAMP}" "/* Written by the build (cmake/WriteHostKit.cmake). */
#include \"base/stamp.h\"

const char *stamp_of_build(void)
{
    return \"${VERSION}-${_sum}\";
}
")
