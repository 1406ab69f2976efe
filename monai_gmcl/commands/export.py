# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl export``: a trained student as TorchScript, with what it was trained for."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monai.bundle.scripts import ckpt_export

from monai_gmcl.commands.init import bundle_folder
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.names import shown_name
from monai_gmcl.paths import check_paths
from monai_gmcl.student_description import StudentDescription
from monai_gmcl.student_file import describe_student

__all__ = ["export", "student_metadata"]


def export(model_file: str, out: str, bundle_root: str | None = None, **override: Any) -> None:
    """Write a trained student as TorchScript, by MONAI's ``ckpt_export``.

    The student's file gives the number of classes, channels and dimensions. The metadata of the TorchScript file, which
    ``monai.data.load_net_with_metadata`` returns, contain the class names and how images are read.

    Args:
        model_file: file of ``monai_gmcl.save_student``, such as ``model.pt`` of a training.
        out: the file to write, ``*.ts``. Its folder must exist.
        bundle_root: the bundle whose ``configs/inference.yaml`` builds the network. Default: the bundle that is
            installed with monai_gmcl.
        override: values of this configuration to replace, such as ``--network_def#layers "[2, 2, 2, 2]"``. Use the
            values of the training.

    Raises:
        CheckpointError: the file is damaged or is not a student's file.
        ConfigurationError: the folder of ``out`` or the bundle does not exist.
    """
    check_paths(model_file=model_file, out=out)
    description = describe_student(model_file)
    root = Path(bundle_root) if bundle_root is not None else bundle_folder()
    inference, metadata = root / "configs" / "inference.yaml", root / "configs" / "metadata.json"
    for file in (inference, metadata):
        if not file.is_file():
            raise ConfigurationError(f"export: expected a bundle with {file.name}, found no file {str(file)!r}.")
    if not Path(out).parent.is_dir():
        raise ConfigurationError(f"export: the folder of {out!r} does not exist. Create it first.")
    told = student_metadata(json.loads(metadata.read_text(encoding="utf-8")), description)
    with TemporaryDirectory() as folder:
        own = Path(folder) / "metadata.json"
        own.write_text(json.dumps(told), encoding="utf-8")
        arguments = {"bundle_root": str(root), "model_file": str(model_file), **override}
        ckpt_export(
            "network_def",
            filepath=str(out),
            ckpt_file=str(model_file),
            meta_file=str(own),
            config_file=str(inference),
            **arguments,
        )
    print(f"{out}: {description.num_classes} classes, {', '.join(map(shown_name, description.class_names))}.")


def student_metadata(bundle: dict[str, Any], description: StudentDescription) -> dict[str, Any]:
    """Return a bundle's metadata with a student's own images and classes in place of those of the bundle's."""
    classes = {str(k): name for k, name in enumerate(description.class_names)}
    colored = description.spatial_dims == 2 and description.channels == 3
    channels = ["R", "G", "B"] if colored else [f"channel {k}" for k in range(description.channels)]
    any_size: list[Any] = ["*"] * description.spatial_dims
    image: dict[str, Any] = {
        "type": "image",
        "format": "RGB" if colored else "magnitude",
        "num_channels": description.channels,
        "spatial_shape": description.image_size or description.image_crop or any_size,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(k): name for k, name in enumerate(channels)},
    }
    formats = bundle["network_data_format"]
    told = {
        **bundle,
        "student": description.told(),
        "data_source": "not recorded in the student's file",
        "image_classes": f"{description.channels} channels, values from 0 to 1",
        "label_classes": ", ".join(f"{k}: {name}" for k, name in classes.items()),
        "network_data_format": {
            "inputs": {"image": image},
            **{
                part: {"pred": {**formats[part]["pred"], "num_channels": len(classes), "channel_def": classes}}
                for part in ("outputs", "post_processed_outputs")
            },
        },
    }
    # the student is exported alone
    told.pop("teacher_data_format", None)
    return told
