# make            build/lethe                      make test    set up, build, run every test
# make deps       install what is missing          make check   tests, layers, headers, sizes, sanitizers
# make VARIANT=asan|race|canary ...                objects of a variant live in build/<variant>/

VARIANT ?= release
CC ?= gcc
PKG_CONFIG ?= pkg-config
B := build/$(VARIANT)

LIBRARIES := jansson libpcre2-8 libutf8proc libcrypto zlib libzstd
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wdouble-promotion -fno-common
CPPFLAGS += -I. -D_GNU_SOURCE $(shell $(PKG_CONFIG) --cflags $(LIBRARIES) 2>/dev/null)
LDLIBS += $(shell $(PKG_CONFIG) --libs $(LIBRARIES) 2>/dev/null) -ldnnl -lgomp -lpthread -lm
TEST_LDLIBS := $(shell $(PKG_CONFIG) --libs cmocka 2>/dev/null)

# No fast-math anywhere: a NaN has to stay one. errno and traps are nobody's business in loops that must vectorise.
CFLAGS_release := -O3 -g
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_race := -O1 -g -fsanitize=thread
CFLAGS_canary := -O2 -g -DLETHE_CANARY_SPLIT_K
CFLAGS += -std=c11 $(WARNINGS) -fno-math-errno -fno-trapping-math $(CFLAGS_$(VARIANT))
LDFLAGS += $(filter -fsanitize=%,$(CFLAGS_$(VARIANT)))

MODULES := core kernels kernels/cpu model eval eval/engine eval/tasks eval/score cli
SOURCES := $(foreach m,$(MODULES),$(wildcard $(m)/*.c))
LIB_OBJECTS := $(patsubst %.c,$(B)/%.o,$(filter-out cli/main.c,$(SOURCES)))
TESTS := $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
TEST_HELPERS := $(patsubst %.c,$(B)/%.o,$(filter-out tests/test_%.c,$(wildcard tests/*.c)) $(filter-out tests/world/main.c,$(wildcard tests/world/*.c)))

.PHONY: all tests
all: build/lethe

build/lethe: $(B)/lethe
	@mkdir -p build && cp -f $< $@

$(B)/lethe: $(B)/cli/main.o $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/liblethe.a: $(LIB_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

tests: $(TESTS:%=$(B)/tests/%)
$(B)/tests/%: $(B)/tests/%.o $(TEST_HELPERS) $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LDLIBS) $(LDLIBS)
.PRECIOUS: $(B)/%.o

$(B)/world: $(B)/tests/world/main.o $(filter $(B)/tests/world/%,$(TEST_HELPERS)) $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
