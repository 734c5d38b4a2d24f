from edgepers import ops


def test_backends_name_an_implementation_for_every_op():
    assert set(ops.backends()) == set(ops.__all__) - {"backends"}
    assert set(ops.backends().values()) <= {"cuda", "triton", "cpp", "torch"}


def test_ops_are_functions_that_say_what_they_do():
    for name in ops.__all__:
        assert callable(getattr(ops, name)) and getattr(ops, name).__doc__
