# oc_room(path LINK libs...): a static library oc_<path> of every .c and .cc in the folder.
function(oc_room path)
	cmake_parse_arguments(R "" "" "LINK" ${ARGN})
	string(REPLACE "/" "_" name ${path})
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${path}/*.c ${CMAKE_SOURCE_DIR}/${path}/*.cc)
	if(sources)
		add_library(oc_${name} STATIC ${sources})
		target_link_libraries(oc_${name} PUBLIC ${R_LINK})
		target_include_directories(oc_${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)
	else()
		add_library(oc_${name} INTERFACE)
		target_link_libraries(oc_${name} INTERFACE ${R_LINK})
		target_include_directories(oc_${name} INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)
	endif()
endfunction()

# oc_embed(OUT symbol FILES...): turns text files into C strings, so that the binary needs no data
# files beside it. Generates <OUT>.c and <OUT>.h in the build tree; see tools/embed.cmake.
function(oc_embed target out)
	cmake_parse_arguments(E "" "" "FILES" ${ARGN})
	set(c ${CMAKE_BINARY_DIR}/embed/${out}.c)
	set(h ${CMAKE_BINARY_DIR}/embed/${out}.h)
	string(REPLACE ";" "|" list "${E_FILES}")
	add_custom_command(OUTPUT ${c} ${h}
		COMMAND ${CMAKE_COMMAND} -DOUT_C=${c} -DOUT_H=${h} -DNAME=${out} "-DFILES=${list}"
			-DROOT=${CMAKE_SOURCE_DIR} -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
		DEPENDS ${E_FILES} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
		VERBATIM)
	target_sources(${target} PRIVATE ${c})
	target_include_directories(${target} PUBLIC ${CMAKE_BINARY_DIR}/embed)
	# Whoever compiles against the header waits for it to exist.
	add_custom_target(embed_${out} DEPENDS ${h} ${c})
	add_dependencies(${target} embed_${out})
endfunction()
