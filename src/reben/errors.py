"""Every exception that reben raises on purpose.

Each message says what was asked, what is there, and what to do. All of them derive from
`RebenError` and from the builtin that fits, so ``except ValueError`` works too.

The tree:

    RebenError
    ├── BandsError (ValueError)
    │   ├── UnknownBandError          not the name of a band
    │   ├── BandsMismatchError        the model needs other bands than the data have
    │   └── AmbiguousBandsError       the order in which a model wants its bands is unknown
    ├── LabelsError (ValueError)
    │   └── UnknownLabelError         not the name of a label
    ├── PatchNameError (ValueError)   not the name of a patch
    ├── PlaceError (ValueError)       files or names of one patch that lie in different places
    ├── AreaError (ValueError)        an area, or a file of vector features, that cannot be used
    ├── PixelsError (ValueError)
    │   ├── PatchShapeError           a band of the wrong size
    │   └── PixelValueError           values in the wrong unit, of the wrong dtype, or NaN
    ├── TiffError (ValueError)        not a single-band TIFF, or a damaged one
    ├── StoreError (ValueError)       not a store, or a damaged value in one
    │   └── MissingPatchError (LookupError)
    ├── EncodeError (ValueError)      not all files could be encoded into the store
    │   └── ArchiveError              an archive that is damaged, truncated or not trustworthy
    ├── UploadError (ValueError)      files uploaded to the demo page that are not one patch
    ├── MetadataError (ValueError)    a table without the columns or rows that are needed
    │   └── EmptySplitError           filters that leave no patch
    ├── ConfigError (ValueError)      an unknown setting or an impossible value
    ├── ModelError (ValueError)
    │   ├── BackboneError             an architecture that timm does not know or cannot build
    │   ├── ModelFolderError          a folder or repository without a usable config or weights
    │   ├── WeightsMismatchError      weights that are not exactly the model's
    │   ├── UnsafeWeightsError        pickled weights, which are never loaded
    │   └── ExportError               a model that cannot be exported to another format
    ├── RunError (ValueError)         not a run, or an unfinished one
    ├── PredictError (ValueError)     not all patches could be predicted
    ├── CardError (ValueError)        a card folder that is not fit for publication
    ├── TrainingError (RuntimeError)  training cannot continue
    ├── ProductError (ValueError)     a product that is missing, damaged or not supported
    │   ├── ProductLevelError         a processing level that the models cannot use
    │   ├── MissingBandError          a product without one of its bands
    │   ├── UnknownOffsetError        the offset of the digital numbers is unknown
    │   ├── OffsetConflictError       two statements about that offset contradict each other
    │   ├── UnknownUnitError          whether backscatter is in dB or linear is unknown
    │   └── GridError                 bands that are not on one north-up grid of 10 m
    ├── DownloadError (OSError)       a file that could not be downloaded
    │   └── ChecksumError             a file with the wrong content
    ├── HubError (OSError)            the Hugging Face Hub refuses a request
    │   ├── HubAuthError              no token, or one without the permission
    │   ├── HubNotFoundError          no such repository, branch, tag or owner
    │   ├── HubConflictError          a name that is taken, or other content than expected
    │   └── HubConnectionError        the Hub cannot be reached, or failed by itself
    ├── OutputError (OSError)         a file or folder that cannot be written
    ├── SceneError (RuntimeError)     not all scenes of a list could be predicted
    └── MissingExtraError (ImportError)  an optional dependency that is not installed
"""

from typing import Any


class RebenError(Exception):
    """Base of every error that reben raises on purpose."""


class BandsError(RebenError, ValueError):
    """Something about bands or their order is wrong."""


class UnknownBandError(BandsError):
    """A name is not a band of a BigEarthNet v2.0 patch."""


class BandsMismatchError(BandsError):
    """The data do not have the bands that are needed."""


class AmbiguousBandsError(BandsError):
    """The order in which a model wants its bands is unknown, and reben does not guess."""


class LabelsError(RebenError, ValueError):
    """Something about labels or their order is wrong."""


class UnknownLabelError(LabelsError):
    """A name is not one of the labels in use."""


class PatchNameError(RebenError, ValueError):
    """A text is not the name of a patch."""


class PlaceError(RebenError, ValueError):
    """What should be one patch lies in different places."""


class AreaError(RebenError, ValueError):
    """An area of interest, or a file of vector features, cannot be used."""


class PixelsError(RebenError, ValueError):
    """The pixels of a band cannot be used as they are."""


class PatchShapeError(PixelsError):
    """A band does not have the size of a patch."""


class PixelValueError(PixelsError):
    """Pixel values are in the wrong unit, of the wrong dtype, or not finite."""


class TiffError(RebenError, ValueError):
    """A file is not a single-band TIFF that can be read."""


class StoreError(RebenError, ValueError):
    """A folder is not a store, or a value in a store is damaged."""


class MissingPatchError(StoreError, LookupError):
    """A patch is not in the store."""


class EncodeError(RebenError, ValueError):
    """Files are damaged or missing, so not all of them were encoded into the store.

    ``report`` is the `reben.EncodeReport`, if encoding reached its end.
    """

    report: Any = None


class ArchiveError(EncodeError):
    """An archive is damaged, truncated, or holds what an archive of the data set must not."""


class UploadError(RebenError, ValueError):
    """Files uploaded to the demo page are not one patch, or more than it accepts."""


class MetadataError(RebenError, ValueError):
    """A metadata table lacks columns or rows, or holds impossible values."""


class EmptySplitError(MetadataError):
    """The filters leave no patch."""


class ConfigError(RebenError, ValueError):
    """A setting is unknown or has an impossible value."""


class ModelError(RebenError, ValueError):
    """A model cannot be built or loaded."""


class BackboneError(ModelError):
    """timm does not know the architecture, or cannot build it as asked."""


class ModelFolderError(ModelError):
    """A folder or repository holds no usable model."""


class WeightsMismatchError(ModelError):
    """Weights are missing, superfluous, or of another shape."""


class UnsafeWeightsError(ModelError):
    """Weights are pickled. Loading them could run code, so reben never does."""


class ExportError(ModelError):
    """A model cannot be exported to another format, or gives other results there."""


class RunError(RebenError, ValueError):
    """A folder is not a training run, or the run lacks something that is needed."""


class PredictError(RebenError, ValueError):
    """Patches are damaged, missing or unusable, so not all of them were predicted."""


class CardError(RebenError, ValueError):
    """A card folder is not fit for publication."""


class TrainingError(RebenError, RuntimeError):
    """Training cannot continue."""


class ProductError(RebenError, ValueError):
    """A product is missing, damaged, or not one that reben reads."""


class ProductLevelError(ProductError):
    """A product has a processing level that the models were not trained on."""


class MissingBandError(ProductError):
    """A product lacks a band that is needed."""


class UnknownOffsetError(ProductError):
    """The offset of the digital numbers is unknown, and reben does not guess."""


class OffsetConflictError(ProductError):
    """Two statements about the offset of the digital numbers contradict each other."""


class UnknownUnitError(ProductError):
    """Whether backscatter is in dB or linear is unknown, or stated impossibly."""


class GridError(ProductError):
    """Bands are not on one north-up grid of 10 m in a projected reference system."""


class DownloadError(RebenError, OSError):
    """A file could not be downloaded."""


class ChecksumError(DownloadError):
    """A file does not have the content that was asked for."""


class HubError(RebenError, OSError):
    """The Hugging Face Hub refuses a request."""


class HubAuthError(HubError):
    """No token for the Hub was found, or it does not permit the request."""


class HubNotFoundError(HubError):
    """The Hub has no such repository, branch, tag or owner."""


class HubConflictError(HubError):
    """A name on the Hub is taken, or the content there is not what this builds on."""


class HubConnectionError(HubError):
    """The Hub cannot be reached, or failed by itself."""


class OutputError(RebenError, OSError):
    """A file or folder cannot be written."""


class SceneError(RebenError, RuntimeError):
    """Not all scenes of a list were predicted, or their cluster cannot be reached."""


class MissingExtraError(RebenError, ImportError):
    """An optional dependency is not installed."""


def shown(value: object, most: int = 60) -> str:
    """Return a value of others as messages show it, cut short."""
    return cut(repr(value), most)


def first_line(error: BaseException) -> str:
    """Return the first line of an error of another library, cut, without its full stop."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else error
    lines = str(said).strip().splitlines()
    return cut((lines[0] if lines else type(error).__name__).strip().rstrip("."), 500)


def cut(text: str, most: int = 80) -> str:
    """Return a text of somebody else as a message shows it: ``most`` letters of it at most."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
