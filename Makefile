# make            build/lethe, and what it was made with     make deps     install what is missing (apt)
# make pocket     a made-up world, scored, in pocket/        make test     deps, build, every test, a closing line
# make check      layers, headers, sizes, sanitizers, canary: all of it at reduced sizes
# make soak       kill storms, FUZZ_RUNS inputs a target     make bench    benchmarks/
# make fuzz       libFuzzer targets in build/fuzz/
# make install PREFIX=/usr/local                             make clean
#
# CUDA_HOME=...: which CUDA to build the GPU backend with (default: /usr/local/cuda, else where nvcc is; empty: none)
# CUDA_ARCH=all: kernels for sm_80, sm_90 and sm_100 instead of sm_90 and what a driver compiles for others
# make cuda-report: registers, shared memory and spills of every kernel
#
# VARIANT=release|asan|race|canary|fuzz: how to compile; everything of a variant lies in build/<variant>/.
# VARIANT=sim|sim-asan|sim-race: with the GPU backend, its kernels run on the CPU by tests/cudasim (device "cudasim").

VARIANT ?= release
CLANG ?= clang
ifeq ($(VARIANT),fuzz)
CC := $(CLANG)
else ifeq ($(origin CC),default)
CC := gcc
endif
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr/local
B := build/$(VARIANT)

LIBRARIES := jansson libpcre2-8 libutf8proc libcrypto zlib libzstd
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wdouble-promotion -fno-common
# Opened at run time by who decomposes a matrix (kernels/cpu/lapack.h); the build takes its prototypes.
OPENED := openblas
CPPFLAGS += -I. -D_GNU_SOURCE $(shell $(PKG_CONFIG) --cflags $(LIBRARIES) $(OPENED) 2>/dev/null)
LDLIBS += $(shell $(PKG_CONFIG) --libs $(LIBRARIES) 2>/dev/null) -ldnnl -lgomp -lpthread -lm
TEST_LDLIBS := $(shell $(PKG_CONFIG) --libs cmocka 2>/dev/null)

# No fast-math anywhere: a NaN has to stay one. errno and traps are nobody's business in loops that must vectorise.
CFLAGS_release := -O3 -g
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_race := -O1 -g -fsanitize=thread
# A planted error that breaks "no result depends on the batch": test_invariance has to notice. It leaves the way it replaces unused.
CFLAGS_canary := -O2 -g -DLETHE_CANARY_SPLIT_K -Wno-unused-function
CFLAGS_sim := -O2 -g
CFLAGS_sim-asan := $(CFLAGS_asan)
CFLAGS_sim-race := -O2 -g
# Warnings are read where gcc gives them.
CFLAGS_fuzz := -w -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS += -std=c11 $(WARNINGS) -fno-math-errno -fno-trapping-math $(CFLAGS_$(VARIANT))
LDFLAGS += $(filter -fsanitize=%,$(CFLAGS_$(VARIANT)))

MODULES := core kernels kernels/cpu model eval eval/engine eval/tasks eval/score analysis analysis/stats cli
SOURCES := $(foreach m,$(MODULES),$(wildcard $(m)/*.c))
HEADERS := $(foreach m,$(MODULES) tests tests/interop tests/world tests/fuzz benchmarks,$(wildcard $(m)/*.h))
LIB_OBJECTS := $(patsubst %.c,$(B)/%.o,$(filter-out cli/main.c,$(SOURCES)))

# The GPU backend, in release builds on a machine with CUDA. The runtime is linked in and looks for the driver when a device is opened; the
# libraries are opened then too (kernels/cuda/libraries.c). So the program starts where there is neither.
CUDA_HOME ?= $(firstword $(wildcard /usr/local/cuda) $(patsubst %/bin/nvcc,%,$(shell command -v nvcc 2>/dev/null)))
NVCC := $(if $(filter release,$(VARIANT)),$(if $(CUDA_HOME),$(wildcard $(CUDA_HOME)/bin/nvcc)))
CUDA_KERNELS := $(wildcard kernels/cuda/*.cu)
CUDA_SOURCES := $(wildcard kernels/cuda/*.c)
ifeq ($(CUDA_ARCH),all)
GENCODE := $(foreach sm,80 90 100,-gencode arch=compute_$(sm),code=sm_$(sm))
else
GENCODE := -gencode arch=compute_90,code=sm_90 -gencode arch=compute_80,code=compute_80
endif
# -fmad=false: a product and a sum are fused where the source says fmaf, and nowhere else, as on the CPU. No guards around
# the statics in nvcc's launch stubs: they would want the C++ runtime.
NVCCFLAGS += -std=c++17 -O3 -fmad=false -I. -D_GNU_SOURCE -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics
ifneq ($(NVCC),)
$(B)/kernels/device.o: CPPFLAGS += -DLETHE_CUDA
$(B)/kernels/cuda/%.o: CPPFLAGS += -isystem $(CUDA_HOME)/include -DLETHE_CUDA_LIBRARIES='"$(CUDA_HOME)/lib64"'
LIB_OBJECTS += $(CUDA_SOURCES:%.c=$(B)/%.o) $(CUDA_KERNELS:%.cu=$(B)/%.cu.o)
LDLIBS += -L$(CUDA_HOME)/lib64 -lcudart_static -ldl -lrt
endif
TESTS := $(filter-out test_cudasim,$(patsubst tests/%.c,%,$(wildcard tests/test_*.c)))

# The same kernels for the CPU: C++ without its library, and like nvcc's, nothing fused that is not written so.
SIM := $(filter sim%,$(VARIANT))
SIM_TESTS := $(filter test_backend test_device test_gemm test_ops_%,$(TESTS)) test_cudasim
# What models compute on it; too long where every access is looked at.
ifeq ($(VARIANT),sim)
SIM_TESTS += $(filter test_forward% test_decode test_generate% test_adapter_golden test_invariance test_score test_score_golden \
	test_delta test_extract test_spectrum_golden test_subspace test_planted,$(TESTS))
endif
ifneq ($(SIM),)
CXXFLAGS += -std=c++17 -Wall -Wextra -Werror -Wshadow -Wno-unknown-pragmas -fno-exceptions -fno-rtti -fno-threadsafe-statics \
	-ffp-contract=off -fno-math-errno -fno-trapping-math $(CFLAGS_$(VARIANT))
$(B)/kernels/device.o: CPPFLAGS += -DLETHE_CUDASIM
LDLIBS += -llapacke -lopenblas
$(B)/kernels/cuda/%.o $(B)/tests/cudasim/%.o: CPPFLAGS := -Itests/cudasim/include $(CPPFLAGS)
ifeq ($(VARIANT),sim-race)
# Kernels report their accesses; tests/cudasim/race.cpp stands in for the library that would take the reports.
$(B)/tests/cudasim/%.cpp.o $(B)/tests/test_cudasim.o: CPPFLAGS += -DCUDASIM_RACE
%.cu.o: CXXFLAGS += -fsanitize=thread
endif
LIB_OBJECTS += $(patsubst %.c,$(B)/%.o,$(filter-out %/libraries.c,$(CUDA_SOURCES))) $(CUDA_KERNELS:%.cu=$(B)/%.cu.o) $(B)/tests/cudasim/switch.o \
	$(patsubst %,$(B)/%.o,$(wildcard tests/cudasim/*.cpp tests/cudasim/*.cu))
TESTS := $(SIM_TESTS)
endif
TEST_HELPERS := $(patsubst %.c,$(B)/%.o,$(filter-out tests/test_%.c %/main.c %/libfuzzer.c,$(wildcard tests/*.c tests/*/*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
BENCHMARKS := $(patsubst %.c,%,$(wildcard benchmarks/bench_*.c))
BENCH_HELPERS := $(patsubst %.c,$(B)/%.o,$(filter-out benchmarks/bench_%.c,$(wildcard benchmarks/*.c)))
# What has threads to race: the pool, and those that drive it hardest.
RACE_TESTS := $(filter test_pool test_engine test_invariance test_tokenizer_batch test_ops_linalg_promises,$(TESTS))

# A make of its own for what follows an installation, since the library flags above are read once; on all processors unless told otherwise.
AGAIN = +@$(MAKE) --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all found deps pocket test check layers headers sizes asan race canary sim-asan sim-race soak fuzz bench install clean tests names cuda-report
all: found build/lethe

found:
	@tools/found.sh '$(CC)' '$(PKG_CONFIG)' '$(NVCC)' '$(GENCODE)' $(LIBRARIES) $(OPENED)

build/lethe: $(B)/lethe
	@mkdir -p build && cp -f $< $@

$(B)/lethe: $(B)/cli/main.o $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Made anew each time: an archive keeps members whose source is gone.
$(B)/liblethe.a: $(LIB_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

ifneq ($(SIM),)
$(B)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ -x c++ $<
$(B)/%.cpp.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(B)/%.o: %.S
	@mkdir -p $(@D)
	$(CC) -c -o $@ $<
else
$(B)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) $(GENCODE) -Xptxas -v -MMD -MP -MF $(@:.o=.d) -c -o $@ $< 2>$@.txt || { cat $@.txt >&2; exit 1; }
endif

# device.c lists the backends of the build, so it is compiled anew when CUDA comes or goes.
$(shell mkdir -p $(B) && { echo '$(NVCC)' | cmp -s - $(B)/nvcc || echo '$(NVCC)' >$(B)/nvcc; })
$(B)/kernels/device.o: $(B)/nvcc

# An archive too, so that a test links only the helpers it uses and may stand in for the modules that the others need.
$(B)/libtest.a: $(TEST_HELPERS)
	@rm -f $@
	@ar rcs $@ $^

tests: $(TESTS:%=$(B)/tests/%) $(B)/lethe
names:
	@echo $(TESTS)
$(B)/tests/%: $(B)/tests/%.o $(B)/libtest.a $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LDLIBS) $(LDLIBS)
$(B)/benchmarks/%: $(B)/benchmarks/%.o $(BENCH_HELPERS) $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(B)/world: $(B)/tests/world/main.o $(B)/libtest.a $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(B)/seeds: $(B)/tests/fuzz/main.o $(B)/libtest.a $(B)/liblethe.a
	$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LDLIBS) $(LDLIBS)
# Under libFuzzer a target is a program of its own; elsewhere all of them live in one, under the names of their files.
ifeq ($(VARIANT),fuzz)
# The kernels read no files, and are written for gcc's vectors.
$(B)/kernels/cpu/%.o: CC := gcc
$(B)/kernels/cpu/%.o: CFLAGS_fuzz := -w -O2 -g
else
$(B)/tests/fuzz/fuzz_%.o: CPPFLAGS += -DLLVMFuzzerTestOneInput=$(*F)
endif
$(FUZZERS:%=$(B)/%): $(B)/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/libfuzzer.o $(B)/libtest.a $(B)/liblethe.a
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(TEST_LDLIBS) $(LDLIBS)
.PRECIOUS: $(B)/%.o

deps:
	@tools/deps.sh

# POCKET=quick: the first few rows of each task.
pocket: deps
	$(AGAIN) all $(B)/world
	@tools/pocket.sh $(B)/world build/lethe $(POCKET)

test: deps
	$(AGAIN) all tests
	$(if $(SIM),,$(AGAIN) VARIANT=sim tests)
	@tests/run.sh $(VARIANT)$(if $(SIM),,+sim)

check: layers headers sizes asan race canary sim-asan sim-race

cuda-report: $(B)/liblethe.a
	@tools/cuda_report.sh $(CUDA_KERNELS:%.cu=$(B)/%.cu.o.txt)

layers:
	@tests/check_layers.sh --self-test
	@tests/check_layers.sh

headers: $(HEADERS:%=$(B)/%.alone)
	@echo "headers: each of $(words $(HEADERS)) compiles alone"
$(B)/%.h.alone: %.h
	@mkdir -p $(@D)
	@echo '#include "$<"' | $(CC) $(CPPFLAGS) $(CFLAGS) -fsyntax-only -x c -
	@touch $@

sizes:
	@tests/check_sizes.sh

asan race canary sim-asan sim-race: export LETHE_TEST_REDUCED := 1
asan sim-asan sim-race:
	$(AGAIN) VARIANT=$@ tests
	@tests/run.sh $@
race:
	$(AGAIN) VARIANT=race $(RACE_TESTS:%=build/race/tests/%) build/race/lethe
	@tests/run.sh race $(RACE_TESTS)
canary:
	$(AGAIN) VARIANT=canary build/canary/tests/test_invariance
	@tests/check_canary.sh

# CLANG: one that has libFuzzer. FUZZ_RUNS: executions of each target.
fuzz:
	+@if tests/fuzz/has_libfuzzer.sh '$(CLANG)'; then $(MAKE) --no-print-directory VARIANT=fuzz $(FUZZERS:%=build/fuzz/%); fi

soak: all $(B)/world $(B)/seeds $(B)/tests/test_noise_rank fuzz
	@tests/soak.sh $(B)/world build/lethe
	@LETHE_TEST_LARGE=1 $(B)/tests/test_noise_rank
	@tests/fuzz/run.sh $(B)/seeds $(FUZZ_RUNS)

# Passive: threads of an OpenMP peer that spin after their call would take a processor from whoever is measured next.
bench: export OMP_WAIT_POLICY := passive
bench: all $(BENCHMARKS:%=$(B)/%)
	@set -e; for program in $(BENCHMARKS); do echo "== $$program"; $(B)/$$program; done

install: all
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 build/lethe '$(DESTDIR)$(PREFIX)/bin/lethe'

clean:
	rm -rf build pocket

-include $(shell find $(B) -name '*.d' 2>/dev/null)
