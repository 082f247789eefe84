"""The model in ttnn. Call `models.mixtral8x7b.target.use_target` first: it decides which ttnn that is."""

try:
    import ttnn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "ttnn":
        raise
    raise ImportError(
        "there is no ttnn in this process; call models.mixtral8x7b.target.use_target('cpu') before importing the model"
    ) from error
