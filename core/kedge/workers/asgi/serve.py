"""Serves the ASGI application `module:app` of the working folder on $HOST:$PORT.

Run by the interpreter that the application was built for, with nothing of Kedge but this folder.
"""

import os
import site
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Serve until asked to end."""
    own = os.getcwd()
    # the first entry is this file's folder, which is nobody's business
    sys.path[0] = own
    modules = os.path.join(own, "python_modules")
    if os.path.isdir(modules):
        installed = sys.path[1:]
        site.addsitedir(modules)
        # what it brings comes before what happens to be installed on this node
        sys.path[1:] = [entry for entry in sys.path[1:] if entry not in installed] + installed
    sys.path.append(os.path.join(HERE, "packages"))
    import uvicorn

    uvicorn.run(
        sys.argv[1],
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ["PORT"]),
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=True,
        forwarded_allow_ips="*",
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
