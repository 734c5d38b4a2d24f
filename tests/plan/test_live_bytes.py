"""Bytes counted without memory against those counted on real tensors, and a plain sum."""

import gc

import torch

from edgepers.plan.live_bytes import MemoryTracker


def test_bytes_are_counted_from_birth_to_death_and_views_are_not():
    old = torch.empty(1000, device="meta")
    with MemoryTracker() as live:
        old.view(10, 100).t()
        assert live.now == 0
        a = torch.empty(256, device="meta")
        b = a * 2
        assert live.now == 2048
        c = a[:10]
        del a, b
        gc.collect()
        assert live.now == 1024  # the view holds it
        del c
        gc.collect()
        assert (live.now, live.peak) == (0, 2048)


def test_shapes_alone_say_what_real_tensors_take():
    def peak(device):
        torch.manual_seed(0)
        layers = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 8)).to(device)
        x = torch.ones(32, 64, device=device)
        with MemoryTracker(device) as live:
            layers(x).square().sum().backward()
        return live.peak

    assert peak("meta") == peak("cpu") > 32 * 256 * 4
