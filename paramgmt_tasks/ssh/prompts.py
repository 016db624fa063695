"""What is asked for, as far as the words of a prompt tell: the password of an account, or something else."""

import re

#: What a password is called where programs ask for one, in the languages they are translated into.
_PASSWORD = re.compile(
    r"pass?wor[dt]|passphrase|\bpass\b|kennwort|mot de passe|contrase|senha|palavra-passe|parol|has[lł]o|"
    "heslo|парол|лозинк|lozink|l[öo]senord|passord|adgangskode|kodeord|wachtwoord|salasana|jelsz|[şs]ifre|κωδικ|"
    "geslo|zaporka|slapta[žz]od|contrasinal|pasahitz|m[ậa]t kh[ẩa]u|kata sandi|lykilor[ðd]|fjal[ëe]kalim|"
    "құпия|گذرواژه|كلمة|סיסמ|รหัสผ่าน|密码|密碼|口令|パスワード|암호|비밀번호",
    re.IGNORECASE,
)
#: What is asked for in similar words, and is another thing.
_ANOTHER = re.compile(
    r"one.?time|otp\b|code|verification|token|factor|pin\b|challenge|\bduo\b|yubikey|\bnew |retype|neues",
    re.IGNORECASE,
)
#: For whom it is asked, as in `Password for nic@codehost:`: a name means nothing.
_WHOSE = re.compile(r"\S+@\S+|\b(?:for|für) \S+", re.IGNORECASE)


def asks_for_password(prompt: str) -> bool:
    """Whether a prompt names the password of an account.

    >>> asks_for_password("Password for nic@codehost:"), asks_for_password("One-time password:")
    (True, False)
    """
    return _PASSWORD.search(prompt) is not None and not asks_for_another(prompt)


def asks_for_another(prompt: str) -> bool:
    """Whether a prompt is certainly for something else, such as a code or a new password."""
    return _ANOTHER.search(_WHOSE.sub("", prompt)) is not None
