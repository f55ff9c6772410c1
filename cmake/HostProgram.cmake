# How a host is built: the one description, for the main build and for adding a host to an installed pyfpm. Wants
# the targets host-plain, config, fcgi, base and stamp, the results of EmbeddablePythons.cmake, and the sources in
# the folder pyhost beside this one.

# What does not include Python.h: compiled once for all hosts, into host-plain.
set(PYFPM_HOST_PLAIN_SOURCES
  busy.c canary.c clients.c conns.c fingerprint.c identity.c intake.c link.c mounts.c pace.c queue.c script_find.c
  wsgi_path.c)

# Parts of a host that are Python: each is compiled into it, as bytes in a header (FILE_py.h).
set(PYFPM_HOST_PYTHON_FILES explain.py)

set(PYFPM_HOST_EMBED_TEXT "${CMAKE_CURRENT_LIST_DIR}/EmbedText.cmake")
get_filename_component(PYFPM_HOST_SOURCE_DIR "${CMAKE_CURRENT_LIST_DIR}/../pyhost" ABSOLUTE)

# Once for all hosts of a build: the target host-embedded makes the headers.
function(pyfpm_embed_host_files)
  set(headers "")
  foreach(file IN LISTS PYFPM_HOST_PYTHON_FILES)
    get_filename_component(name "${file}" NAME_WE)
    set(header "${CMAKE_BINARY_DIR}/embedded/${name}_py.h")
    add_custom_command(OUTPUT "${header}"
      COMMAND "${CMAKE_COMMAND}" "-DFROM=${PYFPM_HOST_SOURCE_DIR}/${file}" "-DTO=${header}"
        "-DNAME=host_${name}_source" -P "${PYFPM_HOST_EMBED_TEXT}"
      DEPENDS "${PYFPM_HOST_SOURCE_DIR}/${file}" "${PYFPM_HOST_EMBED_TEXT}"
      VERBATIM)
    list(APPEND headers "${header}")
  endforeach()
  add_custom_target(host-embedded DEPENDS ${headers})
endfunction()

function(pyfpm_add_host version)
  if(NOT TARGET host-embedded)
    pyfpm_embed_host_files()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE "${PYFPM_HOST_SOURCE_DIR}" "${PYFPM_HOST_SOURCE_DIR}/*.c")
  list(REMOVE_ITEM sources ${PYFPM_HOST_PLAIN_SOURCES})
  list(TRANSFORM sources PREPEND "${PYFPM_HOST_SOURCE_DIR}/")
  set(host "host-${version}")
  add_executable(${host} ${sources})
  target_compile_definitions(${host} PRIVATE PYFPM_VERSION="${PROJECT_VERSION}" HOST_PYTHON_VERSION="${version}"
    HOST_PYTHON_EXECUTABLE="${PYFPM_HOST_${version}_INTERPRETER}")
  add_dependencies(${host} host-embedded)
  target_include_directories(${host} PRIVATE "${CMAKE_BINARY_DIR}/embedded")
  target_include_directories(${host} SYSTEM PRIVATE "${PYFPM_HOST_${version}_INCLUDE}")
  target_link_libraries(${host} PRIVATE host-plain config fcgi base stamp
    "${PYFPM_HOST_${version}_LIBRARY}" ${CMAKE_DL_LIBS})
  set_target_properties(${host} PROPERTIES
    ENABLE_EXPORTS ON
    INSTALL_RPATH "${PYFPM_HOST_${version}_LIBDIR}"
    INSTALL_RPATH_USE_LINK_PATH ON
    # Otherwise cmake pads the path with a ":" to have room for a change, and ld.so takes what is empty between
    # colons for the current folder.
    BUILD_WITH_INSTALL_RPATH ON)
  if(PYFPM_LIBEXEC_DIR)
    set_target_properties(${host} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PYFPM_LIBEXEC_DIR}")
  endif()
  install(TARGETS ${host} DESTINATION libexec/pyfpm)
endfunction()
