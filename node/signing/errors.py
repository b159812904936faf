"""The errors of this room.

    SigningError(Exception)
    ├── WeakKey            a public key that must not be registered: wrong length, not on the curve, of small order
    ├── KeyReused          one key in two roles
    ├── NoMldsa            this machine's cryptographic library has no ML-DSA-44
    ├── KeyFileError       a key file that cannot be used
    │   ├── UnsafeKeyFile  other users can read it, or it is no regular file
    │   ├── BadKeyFile     not a key file, or not of this version; or its parts contradict one another
    │   └── WrongPassphrase  the passphrase does not open it, or the file was altered
    ├── BadCertificate     not a transport certificate as RULINGS R47 wants it
    ├── CannotSeal         a document that cannot be sealed so: too long, bad recipients, bad threshold
    └── CannotOpen         a share or document that does not open, or is not what was committed to

No message holds a secret.
"""


class SigningError(Exception):
    """Base of this room's errors. The message names what was wrong and what would have been right."""


class WeakKey(SigningError):
    pass


class KeyReused(SigningError):
    pass


class NoMldsa(SigningError):
    pass


class KeyFileError(SigningError):
    pass


class UnsafeKeyFile(KeyFileError):
    pass


class BadKeyFile(KeyFileError):
    pass


class WrongPassphrase(KeyFileError):
    pass


class BadCertificate(SigningError):
    pass


class CannotSeal(SigningError):
    pass


class CannotOpen(SigningError):
    pass


class CannotReveal(SigningError):
    """A hash chain that has no such link, or would show one out of turn."""
