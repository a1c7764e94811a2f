"""Build time only: put the start-up line where Python reads it, for plain and editable installs."""

from pathlib import Path

from setuptools.command.build_py import build_py

PTH = "btrans_eval.pth"  # sorts after __editable__*, which must make the package importable first


class BuildPyWithPth(build_py):
    """setuptools' ``build_py`` that also packs ``btrans_eval.pth`` at the root."""

    def run(self) -> None:
        """Build, then copy the start-up line to what becomes site-packages."""
        super().run()
        # an editable wheel packs what lies in install_lib, a plain one build_lib
        install_lib = self.get_finalized_command("install").install_lib
        root = install_lib if self.editable_mode else self.build_lib
        self.copy_file(f"btrans_eval/{PTH}", str(Path(root, PTH)), preserve_mode=False)
