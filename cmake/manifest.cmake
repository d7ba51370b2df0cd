# Turns a manifest (JSON) into a C array named NAME.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "static const char ${NAME}[] = {${bytes}0x00};\n")
