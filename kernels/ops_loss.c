#include "kernels/ops.h"

#include "kernels/check_args.h"

Status op_xent(Device *dev, Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight)
{
    CHECK_SLOT(dev, xent);
    TRY(check_tensor("xent", "logits", logits, DT_F32, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("xent", "loss", loss, DT_F32, 1, logits.rows));
    TRY(check_tensor("xent", "target", target, DT_I32, 1, logits.rows));
    TRY(check_tensor("xent", "weight", weight, DT_F32, 1, logits.rows));
    TRY(check_optional("xent", "dlogits", dlogits, DT_TRAIN, logits.rows, logits.cols));
    return is_empty(logits) ? LT_OK : dev->table->xent(dev, loss, dlogits, logits, target, weight);
}

Status op_logprob(Device *dev, Tensor lp, Tensor best, Tensor logits, Tensor row, Tensor target)
{
    CHECK_SLOT(dev, logprob);
    TRY(check_tensor("logprob", "logits", logits, DT_F32, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("logprob", "lp", lp, DT_F32, 1, ANY_SIZE));
    TRY(check_tensor("logprob", "row", row, DT_I32, 1, lp.cols));
    TRY(check_tensor("logprob", "target", target, DT_I32, 1, lp.cols));
    TRY(check_optional("logprob", "best", best, DT_I32, 1, lp.cols));
    if (is_empty(lp))
        return LT_OK;
    if (is_empty(logits))
        return FAIL(LT_E_FAIL, "logprob: %lld pairs and no logits", (long long)lp.cols);
    return dev->table->logprob(dev, lp, best, logits, row, target);
}

Status op_argmax(Device *dev, Tensor id, Tensor logits)
{
    CHECK_SLOT(dev, argmax);
    TRY(check_tensor("argmax", "logits", logits, DT_F32, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("argmax", "id", id, DT_I32, 1, logits.rows));
    return is_empty(logits) ? LT_OK : dev->table->argmax(dev, id, logits);
}

Status op_sample(Device *dev, Tensor id, Tensor lp, Tensor logits, Tensor params)
{
    CHECK_SLOT(dev, sample);
    TRY(check_tensor("sample", "logits", logits, DT_F32, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("sample", "id", id, DT_I32, 1, logits.rows));
    TRY(check_tensor("sample", "params", params, DT_I32, logits.rows, sizeof(SampleParams) / sizeof(int32_t)));
    TRY(check_optional("sample", "lp", lp, DT_F32, 1, logits.rows));
    return is_empty(logits) ? LT_OK : dev->table->sample(dev, id, lp, logits, params);
}
