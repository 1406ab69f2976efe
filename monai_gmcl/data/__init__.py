# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading, splitting and drawing data sets."""

from __future__ import annotations

from monai_gmcl.data.class_folders import class_folder_datalist
from monai_gmcl.data.datalists import read_csv_datalist, read_json_datalist
from monai_gmcl.data.labeled_sources import LabeledSources
from monai_gmcl.data.listing import is_image
from monai_gmcl.data.loading import ReadImaged, image_transforms
from monai_gmcl.data.mask_files import ReadMaskd
from monai_gmcl.data.mask_opening import open_segmentation_data
from monai_gmcl.data.mask_phantom import make_mask_phantom, make_volume_mask_phantom
from monai_gmcl.data.opening import LabeledData, open_data
from monai_gmcl.data.phantom import make_phantom, make_unlabeled_phantom
from monai_gmcl.data.splits import check_no_leakage, draw_labeled, grouped_stratified_split
from monai_gmcl.data.synthetic_dataset import SyntheticDataset
from monai_gmcl.data.unlabeled import prediction_datalist, unlabeled_datalist
from monai_gmcl.data.volume_phantom import make_volume_phantom

__all__ = [
    "LabeledData",
    "LabeledSources",
    "ReadImaged",
    "ReadMaskd",
    "SyntheticDataset",
    "check_no_leakage",
    "class_folder_datalist",
    "draw_labeled",
    "grouped_stratified_split",
    "image_transforms",
    "is_image",
    "make_mask_phantom",
    "make_phantom",
    "make_unlabeled_phantom",
    "make_volume_mask_phantom",
    "make_volume_phantom",
    "open_data",
    "open_segmentation_data",
    "prediction_datalist",
    "read_csv_datalist",
    "read_json_datalist",
    "unlabeled_datalist",
]
