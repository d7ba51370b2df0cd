/* waker.h - a way to wake a sleeping loop: pokes are remembered, so none is lost between check and sleep. */
#pragma once
#include <stdbool.h>

struct waker;
struct waker *waker_new(void);
void waker_free(struct waker *w);
void waker_poke(struct waker *w);                 /* any thread; NULL is fine */
bool waker_wait(struct waker *w, int timeout_ms); /* true when poked */
