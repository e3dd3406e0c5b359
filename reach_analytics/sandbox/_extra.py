"""Imported first: a sentence where the packages that only the sandbox needs are missing."""

from importlib.util import find_spec

for needed in ("jsonschema", "starlette", "uvicorn"):
    if find_spec(needed) is None:
        raise ModuleNotFoundError(
            f"the sandbox needs {needed}, which is not installed: "
            "pip install 'reach-analytics[sandbox]'",
            name=needed,
        )
