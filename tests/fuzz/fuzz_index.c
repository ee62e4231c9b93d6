/* model.safetensors.index.json in a folder with two good shards. */
#include "tests/fuzz/fuzz.h"

#include "model/safetensors.h"

static const char *make_folder(void)
{
    static const char a[] = "\x39\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}    \0\0\0\0";
    static const char b[] = "\x39\0\0\0\0\0\0\0{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}    \0\0\0\0";
    static const char *folder;

    if (folder == NULL) {
        folder = fuzz_folder();
        fuzz_put(folder, "1.safetensors", (Str){a, sizeof a - 1});
        fuzz_put(folder, "2.safetensors", (Str){b, sizeof b - 1});
        fuzz_link(folder, "model.safetensors.index.json");
    }
    return folder;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *folder = make_folder();
    const int64_t held = mem_held();
    StSet set;

    fuzz_file(fuzz_str(data, size));
    if (fuzz_succeeded(st_set_open(&set, folder))) {
        for (size_t i = 0; i < set.by_name.count; i++) {
            const StFile *file;
            char value[4];
            const StTensor *t = st_set_find(&set, map_key(&set.by_name, i), &file);

            BUG_IF(t == NULL || t->end - t->begin != sizeof value);
            fuzz_must(st_read(file, t, 0, value, sizeof value));
        }
        st_set_close(&set);
    }
    BUG_IF(mem_held() != held);
    return 0;
}

void fuzz_index_seeds(SeedList *out)
{
    seed_add_text(out, "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}");
    seed_add_text(out, "{\"weight_map\":{\"a\":\"1.safetensors\"}}");
    seed_add_text(out, "{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}}");
    seed_add_text(out, "{\"weight_map\":{\"a\":\"../1.safetensors\",\"b\":\"/2.safetensors\",\"c\":\"..\\\\3.safetensors\"}}");
    seed_add_text(out, "{\"weight_map\":{\"a\\u0000\":\"1.safetensors\\u0000\",\"a\":\"1.safetensors\",\"b\":7}}");
    seed_add_text(out, "{\"weight_map\":[]}");
}
