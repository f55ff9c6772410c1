# Finds the interpreters that a host can be built for and asks each, through its own sysconfig, where its
# headers and its shared library are.
#
# Result: PYFPM_HOSTS, a list of X.Y (with the ABI's letter, as in 3.13t), the system's python3 first, and for
# each of them PYFPM_HOST_<X.Y>_{INCLUDE,LIBRARY,LIBDIR,INTERPRETER}.

set(_ask "import sysconfig,os,sys
v=sysconfig.get_config_var
i=sysconfig.get_path('include')
d=v('LIBDIR') or ''
l=v('INSTSONAME') or v('LDLIBRARY') or ''
p=next((c for c in (os.path.join(d,l),os.path.join(d,v('MULTIARCH') or '',l)) if '.so' in l and os.path.isfile(c)),'')
ok=sys.implementation.name=='cpython' and sys.version_info[:2]>=(3,8) and p and os.path.isfile(os.path.join(i,'Python.h'))
t='t' if v('Py_GIL_DISABLED') else ''
print('%d.%d%s;%s;%s;%s'%(sys.version_info[0],sys.version_info[1],t,i,p,os.path.dirname(p)) if ok else 'no')")

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
  execute_process(COMMAND "${_python}" -I -c "${_ask}" OUTPUT_VARIABLE _answer RESULT_VARIABLE _status
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT _status EQUAL 0 OR _answer STREQUAL "no")
    if(PYFPM_PYTHONS)
      message(FATAL_ERROR "${_python} cannot be embedded: it is not CPython >= 3.8 with headers and a shared libpython")
    endif()
    continue()
  endif()
  list(GET _answer 0 _version)
  if(_version IN_LIST PYFPM_HOSTS)
    continue()
  endif()
  list(APPEND PYFPM_HOSTS "${_version}")
  list(GET _answer 1 PYFPM_HOST_${_version}_INCLUDE)
  list(GET _answer 2 PYFPM_HOST_${_version}_LIBRARY)
  list(GET _answer 3 PYFPM_HOST_${_version}_LIBDIR)
  set(PYFPM_HOST_${_version}_INTERPRETER "${_python}")
  message(STATUS "Host for Python ${_version}: ${_python}")
endforeach()
if(NOT PYFPM_HOSTS)
  message(FATAL_ERROR "No embeddable Python was found: install libpython3-dev, or name one with -DPYFPM_PYTHONS=/path/to/python3")
endif()
if(NOT PYFPM_DEFAULT_PYTHON)
  list(GET PYFPM_HOSTS 0 PYFPM_DEFAULT_PYTHON)
endif()
