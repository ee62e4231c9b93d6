/* A second forward pass to compare with: one sequence, plain loops, double precision; only the rotary angles are F32, as the model's
 * definition has them. And the small models that tests are made of. */
#ifndef LETHE_TESTS_REF_MODEL_H
#define LETHE_TESTS_REF_MODEL_H

#include "model/checkpoint.h"

/* Two layers, 4 query heads of 6 on 2 key/value heads, hidden 20, ffn 28, vocabulary 50, 128 positions, untied, no biases. */
ModelConfig ref_model_config(void);
/* logits[n, V] of tokens at positions 0..n-1, from the weights of a model on any device. */
void ref_model_logits(const Model *m, const int32_t *id, int n, double *logits);
/* log softmax(logits)[target] of one row. */
double ref_model_logprob(const double *logits, int64_t vocab, int32_t target);
/* Gives biases and norms values that matter: random models have zeros and ones there. */
void ref_model_disturb(Model *m, uint64_t seed);

#endif
