# Read by pack.sh and run.sh: the programs of build/release that the day with a card wants.
TEST_PROGRAMS="tests/test_backend tests/test_device tests/test_gemm tests/test_ops_block tests/test_ops_grad tests/test_ops_dropout tests/test_ops_attn
    tests/test_ops_cached tests/test_ops_attn_grad tests/test_ops_loss tests/test_ops_sample tests/test_ops_optim tests/test_ops_linalg
    tests/test_forward tests/test_forward_golden tests/test_adapter_golden tests/test_decode tests/test_generate tests/test_generate_golden
    tests/test_invariance tests/test_score tests/test_score_golden"
BENCH_PROGRAMS="benchmarks/bench_ops benchmarks/bench_generate benchmarks/bench_score"
