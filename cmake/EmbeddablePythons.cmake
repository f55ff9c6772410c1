# Finds the interpreters that a host can be built for and asks each, through embeddable.py, where its headers and
# its shared library are. The main build and the one that adds a host to an installed pyfpm both use it.
#
# Result: PYFPM_HOSTS, a list of X.Y (with the ABI's letter, as in 3.13t), the system's python3 first, and for
# each of them PYFPM_HOST_<X.Y>_{INCLUDE,LIBRARY,LIBDIR,INTERPRETER}.

if(PYFPM_PYTHONS)
  set(_candidates ${PYFPM_PYTHONS})
else()
  # The usual places: the system, /usr/local, /opt, and pyenv's root.
  set(_pyenv_root "$ENV{PYENV_ROOT}")
  if(NOT _pyenv_root)
    set(_pyenv_root "$ENV{HOME}/.pyenv")
  endif()
  file(GLOB _found
    /usr/bin/python3.[0-9] /usr/bin/python3.[0-9][0-9] /usr/bin/python3.[0-9][0-9]t
    /usr/local/bin/python3.[0-9] /usr/local/bin/python3.[0-9][0-9] /usr/local/bin/python3.[0-9][0-9]t
    /opt/*/bin/python3.[0-9] /opt/*/bin/python3.[0-9][0-9] /opt/*/bin/python3.[0-9][0-9]t
    "${_pyenv_root}/versions/*/bin/python3.[0-9]" "${_pyenv_root}/versions/*/bin/python3.[0-9][0-9]"
    "${_pyenv_root}/versions/*/bin/python3.[0-9][0-9]t")
  set(_candidates /usr/bin/python3 ${_found})
endif()

set(PYFPM_HOSTS "")
foreach(_python IN LISTS _candidates)
  execute_process(COMMAND "${_python}" -I -B "${CMAKE_CURRENT_LIST_DIR}/embeddable.py"
    OUTPUT_VARIABLE _answer RESULT_VARIABLE _status OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT _status EQUAL 0 OR NOT _answer MATCHES "^(ok|no);")
    set(_answer "no;is not a Python 3")
  endif()
  if(_answer MATCHES "^no;(.*)$")
    if(PYFPM_PYTHONS)
      message(FATAL_ERROR "${_python} ${CMAKE_MATCH_1}")
    endif()
    continue()
  endif()
  list(GET _answer 1 _version)
  if(_version IN_LIST PYFPM_HOSTS)
    continue()
  endif()
  list(APPEND PYFPM_HOSTS "${_version}")
  list(GET _answer 2 PYFPM_HOST_${_version}_INCLUDE)
  list(GET _answer 3 PYFPM_HOST_${_version}_LIBRARY)
  list(GET _answer 4 PYFPM_HOST_${_version}_LIBDIR)
  list(GET _answer 5 PYFPM_HOST_${_version}_INTERPRETER)
  message(STATUS "Host for Python ${_version}: ${PYFPM_HOST_${_version}_INTERPRETER}")
endforeach()
if(NOT PYFPM_HOSTS)
  message(FATAL_ERROR "No embeddable Python was found: install libpython3-dev, or name one with -DPYFPM_PYTHONS=/path/to/python3")
endif()
if(NOT PYFPM_DEFAULT_PYTHON)
  list(GET PYFPM_HOSTS 0 PYFPM_DEFAULT_PYTHON)
endif()
