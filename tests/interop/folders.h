/* The folders that the programs of others are shown: small models as Lethe saves them, and adapters as Lethe writes them. */
#ifndef LETHE_TESTS_INTEROP_FOLDERS_H
#define LETHE_TESTS_INTEROP_FOLDERS_H

/* Writes FOLDER/NAME/model and, beside it, an adapter on it of each of made_name, for the made-up world's Llama (whose model folder has a tokenizer)
 * and for random models of the other architectures. */
void interop_make(const char *folder);

#endif
