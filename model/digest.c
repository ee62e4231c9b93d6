#include "model/model.h"

Status digest_of_files(const Checkpoint *ckpt, const Digest *file, Digest *out)
{
    Sha256 all;

    TRY(sha256_init(&all));
    sha256_add(&all, ckpt->config_digest.byte, sizeof ckpt->config_digest.byte);
    for (size_t i = 0; i < ckpt->set.n_file; i++)
        sha256_add(&all, file[i].byte, sizeof file[i].byte);
    *out = sha256_end(&all);
    return LT_OK;
}

Status checkpoint_digest(const Checkpoint *ckpt, FileHashMode mode, Digest *out, bool *known)
{
    Digest *file;
    Status st = LT_OK;
    bool all_known = true;

    TRY(MEM_NEW(file, ckpt->set.n_file));
    for (size_t i = 0; i < ckpt->set.n_file && all_known; i++)
        TRY_GOTO(filehash_lookup(ckpt->set.file[i].path, &ckpt->set.file[i].id, mode, &file[i], &all_known), st, done);
    if (all_known)
        st = digest_of_files(ckpt, file, out);
    *known = all_known;
done:
    mem_free(file);
    return st;
}
