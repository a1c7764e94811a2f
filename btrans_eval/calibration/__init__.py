"""How much noise a model bears: tables and pictures of ``btrans-eval calibrate``."""
