from train.seeds import net_seed


def test_a_net_gets_a_seed_of_its_own_for_each_fold():
    seeds = [net_seed(1001, fold) for fold in range(10)]
    assert len(set(seeds)) == 10
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seeds == [net_seed(1001, fold) for fold in range(10)]


def test_seeds_never_change():
    assert net_seed(1001, 0) == 2060346950
