/* words.h - text as the words that retrieval counts: normalised, stemmed, weighted.
 *
 * Pure. One way for documents and questions, in English and Chinese: names are split where their case changes
 * (KubeAPIDown: kubeapidown, kube, api, down), English words lose their commonest endings, runs of Chinese become
 * pairs of characters, and abbreviations of the trade also say what they stand for (glossary.def). Words that
 * every text has are left out. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define WORD_MAX 48 /* bytes of a normalised word; longer ones are cut */

/* `word` ends in 0 and is lent for the call. */
typedef void words_fn(void *ctx, const char *word, size_t n, float weight);
/* Any bytes; what is no UTF-8 separates words. */
void words_each(const char *text, size_t len, float weight, words_fn *fn, void *ctx);

/* A chunk of a document: its title and headings count double, fenced code a quarter, addresses of links and
 * comments not at all. Each of the first two may be NULL. */
void words_chunk(const char *title, const char *heading, const char *body, words_fn *fn, void *ctx);

uint64_t word_id(const char *word, size_t n); /* FNV-1a; what indexes and embeddings know words by */
