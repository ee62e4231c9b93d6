/* The made-up language of the made-up world: words of invented syllables, and facts about them that hold in every text, so that there is something
 * a model could learn. Everything follows from the seed. */
#ifndef LETHE_TESTS_WORLD_LANGUAGE_H
#define LETHE_TESTS_WORLD_LANGUAGE_H

#include "core/random.h"
#include "core/strbuf.h"

enum { N_NAME = 12, N_THING = 24, N_VERB = 16, N_TRAIT = 12, N_PLACE = 10 };

typedef struct Language {
    PyRandom random;
    Arena text;
    const char *name[N_NAME], *thing[N_THING], *verb[N_VERB], *trait[N_TRAIT], *place[N_PLACE];
    int verb_of[N_THING], trait_of[N_THING], place_of[N_THING]; /* what each thing does, is like, and where it lives */
} Language;

Status language_make(Language *l, uint64_t seed);
void language_release(Language *l);

/* 0..n-1. */
int language_pick(Language *l, int n);
/* 0..n-1 in random order, the first `count` of them; `first` leads if it is not -1. */
void language_choose(Language *l, int *out, int count, int n, int first);

#endif
