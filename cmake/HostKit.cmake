# The kit: what a host is built from, in share/pyfpm/host and lib/pyfpm of both the build tree and the install tree,
# so that `pyfpm add-python` and `cmake -S share/pyfpm/host` work in both. And the stamp, which says what sources
# pyfpm and its hosts were built from: the libraries of the kit carry it into every host that is added later.
set(PYFPM_KIT_DIR "${CMAKE_BINARY_DIR}/share/pyfpm/host")
set(_stamp_source "${CMAKE_BINARY_DIR}/stamp.c")

file(GLOB _watched CONFIGURE_DEPENDS base/*.[ch] config/*.[ch] fcgi/*.[ch] pyhost/*.[ch] pyhost/*.py
  cmake/*.cmake cmake/*.py cmake/host-kit/*)
add_custom_command(OUTPUT "${_stamp_source}"
  COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${CMAKE_SOURCE_DIR}" "-DKIT=${PYFPM_KIT_DIR}" "-DSTAMP=${_stamp_source}"
    "-DVERSION=${PROJECT_VERSION}" -P "${CMAKE_SOURCE_DIR}/cmake/WriteHostKit.cmake"
  DEPENDS ${_watched}
  COMMENT "Collecting what a host is built from"
  VERBATIM)
add_library(stamp STATIC "${_stamp_source}")
target_link_libraries(stamp PUBLIC pyfpm-options)

# Called when all targets are there.
function(pyfpm_finish_host_kit)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  set(flags_of_type "${CMAKE_C_FLAGS_${type}}")
  configure_file(cmake/host-kit/settings.cmake.in "${PYFPM_KIT_DIR}/settings.cmake" @ONLY)
  set(libraries stamp base config fcgi host-plain)
  set_target_properties(${libraries} PROPERTIES ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib/pyfpm")
  install(TARGETS ${libraries} ARCHIVE DESTINATION lib/pyfpm)
  install(DIRECTORY "${PYFPM_KIT_DIR}" DESTINATION share/pyfpm)
endfunction()
