"""Prompts that ask for the password of an account, and those that only look so."""

import pytest

from paramgmt_tasks.ssh.prompts import asks_for_another, asks_for_password


@pytest.mark.parametrize(
    "prompt",
    [
        *("Password: ", "[sudo] password for nic: ", "(current) UNIX password:", "nic's Password: ", "Pass:"),
        *("Password for nic@codehost.example:", "(nic@token1) Password:", "doas (nic@new) password:"),
        *("[sudo] Passwort für nic: ", "Mot de passe :", "пароль:", "密码：", "[sudo] パスワード:"),
        *("[sudo] password for coder: ", "[sudo] password for pinky: "),
    ],
)
def test_the_password_is_asked_for(prompt: str) -> None:
    assert asks_for_password(prompt)
    assert not asks_for_another(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        *("Verification code: ", "One-time password (OATH) for `nic': ", "Enter PASSCODE: ", "OTP:", "PIN: "),
        *("Password & OTP: ", "Passcode or option (1-3): ", "Second factor: ", "Enter your token: "),
        *("New password: ", "Retype new UNIX password: ", "Neues Passwort: ", "YubiKey for `nic': "),
        *("Token_response: ", "Authcode: ", "2factor password: ", "Duo two-factor login for nic"),
    ],
)
def test_something_else_is_asked_for(prompt: str) -> None:
    assert asks_for_another(prompt)
    assert not asks_for_password(prompt)
