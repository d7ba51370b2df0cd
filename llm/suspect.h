/* suspect.h - text from outside that speaks to the model instead of telling what happened.
 *
 * Pure. A tripwire, not a wall: what holds is that a model's document is checked against the world and has no write
 * tool. Looks through what hides words: case, blanks and invisible characters between letters, look-alike letters,
 * percent, HTML and backslash escapes, base64 and hex. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* True when it does; what (at least 64 bytes) names the sign: "tells the model to forget its rules". */
bool suspect_text(const char *text, char *what, size_t size);
