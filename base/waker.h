/* waker.h - a way to wake a sleeping loop: pokes are remembered, so none is lost between check and sleep. */
#pragma once
#include <stdbool.h>

struct waker;
struct waker *waker_new(void);
void waker_free(struct waker *w);
void waker_poke(struct waker *w); /* any thread; NULL is fine */
/* Not at once, but within so many milliseconds: for what can wait for company. */
void waker_poke_within(struct waker *w, int ms);
bool waker_wait(struct waker *w, int timeout_ms); /* true when poked */
