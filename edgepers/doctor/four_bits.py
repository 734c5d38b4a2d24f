"""Whether 4-bit weights work: packed, unpacked, and with a gradient."""

from typing import Any

from edgepers.doctor.finding import Finding, Subject, devices

__all__ = ["BNB_CURE", "check_cold_boot", "check_gradient", "check_nf4"]

NF4_ERROR = 0.15  # of a normal weight's root mean square; NF4 with double quantization has about 0.09
GRADIENT_ERROR = 1e-2
SIDE = 256  # of the one 4-bit layer that is launched: boards have rebooted from a first 4-bit launch of several shapes
JUST_BOOTED_SECONDS = 600
BNB_CURE = (
    "reinstall bitsandbytes; on a Jetson Orin build it with -DCOMPUTE_CAPABILITY=87, since published Arm wheels lack"
    " its code"
)


def check_cold_boot(subject: Subject) -> Finding:
    """A board that has just started and loads several 4-bit shapes at once has been seen to reboot."""
    try:
        up_seconds = float((subject.root / "proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return Finding("cold boot", "ok", "this machine does not tell since when it is on")
    if subject.board.jetson and up_seconds < JUST_BOOTED_SECONDS:
        cure = (
            f"none for edgepers, which launches one small 4-bit layer ({SIDE} x {SIDE}) first; run it before other"
            " programs do"
        )
        return Finding(
            "cold boot", "warn", f"on for {up_seconds / 60:.0f} min: a first 4-bit model has rebooted boards", cure
        )
    return Finding("cold boot", "ok", f"on for {up_seconds / 3600:.1f} h")


def check_nf4(_: Subject) -> Finding:
    """NF4 with double quantization, there and back, on each device."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    found = []
    for device in devices():
        weight = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
        packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        error = float((dequantize_4bit(packed, state) - weight).square().mean().sqrt())
        if not error <= NF4_ERROR:
            return Finding(
                "nf4", "fail", f"on {device} weights come back with an error of {error:.3g}, over {NF4_ERROR}", BNB_CURE
            )
        found.append(f"{device} {error:.3f}")
    return Finding("nf4", "ok", f"weights come back, root mean square error: {', '.join(found)}")


def check_gradient(_: Subject) -> Finding:
    """The gradient that a 4-bit layer passes on: training without it would silently learn nothing."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    from edgepers.model.loading import quiet

    for device in devices():
        layer: Any = Linear4bit(
            SIDE, SIDE, bias=False, compute_dtype=torch.float32, quant_type="nf4", compress_statistics=True
        )
        layer.support_avx512bf16_for_cpu = False  # as the product has it: weights repacked for AVX-512 have no gradient
        layer = layer.to(device)
        rows = torch.ones(2, SIDE, device=device, requires_grad=True)
        with quiet():
            layer(rows).sum().backward()
        if rows.grad is None:
            return Finding("4-bit gradient", "fail", f"on {device} there is none", BNB_CURE)
        truth = dequantize_4bit(layer.weight.data, layer.weight.quant_state).view(SIDE, SIDE).sum(0)
        error = float((rows.grad - truth).abs().max() / truth.abs().max())
        if not error <= GRADIENT_ERROR:
            return Finding("4-bit gradient", "fail", f"on {device} it is off by {error:.3g} of its largest", BNB_CURE)
    return Finding("4-bit gradient", "ok", f"right on {' and '.join(devices())}")
