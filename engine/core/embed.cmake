# Writes OUTPUT, a C file holding every file of FILES (below ROOT) as bytes, and the table that
# engine/core/embedded.h declares. Run by CMakeLists.txt in script mode.
set(arrays "")
set(rows "")
set(index 0)
foreach(file ${FILES})
  file(RELATIVE_PATH name ${ROOT} ${file})
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char file_${index}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", (const char *)file_${index}, sizeof file_${index} - 1},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT} "#include \"engine/core/embedded.h\"\n${arrays}\nconst affect_embedded_file affect_embedded_files[] = {\n${rows}    {0, 0, 0}};\n")
