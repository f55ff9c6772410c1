# cmake -DFROM=FILE -DTO=HEADER -DNAME=c_name -P EmbedText.cmake: the file as "static const unsigned char c_name[]", NUL-terminated.
file(READ "${FROM}" _hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," _bytes "${_hex}")
string(REGEX REPLACE "((0x..,){20})" "\\1\n" _bytes "${_bytes}")
file(WRITE "${TO}" "static const unsigned char ${NAME}[] = {\n${_bytes}0};\n")
