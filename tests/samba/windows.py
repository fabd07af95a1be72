"""An SMB client that does what Windows and scanners do and smbclient cannot: it keeps a file open between steps, and gives
it its final size before its content. The library is libsmbclient, which smbclient brings along.

    windows.py smb://127.0.0.1:PORT/SHARE        then a step a line on standard input, each answered with "done":
    open NAME | size BYTES | write OFFSET LENGTH LOCAL-FILE | close
"""

import ctypes
import sys

smb = ctypes.CDLL("libsmbclient.so.0", use_errno=True)
smb.smbc_lseek.restype = ctypes.c_longlong
smb.smbc_lseek.argtypes = [ctypes.c_int, ctypes.c_longlong, ctypes.c_int]
smb.smbc_ftruncate.argtypes = [ctypes.c_int, ctypes.c_longlong]
smb.smbc_write.restype = ctypes.c_ssize_t
smb.smbc_write.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]


@ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_char_p, *[ctypes.POINTER(ctypes.c_char), ctypes.c_int] * 3
)
def guest(_server, _share, group, _g, user, _u, password, _p):
    for field, value in ((group, b"WORKGROUP\0"), (user, b"anybody\0"), (password, b"none\0")):
        ctypes.memmove(field, value, len(value))


def must(result):
    if result < 0:
        sys.exit(f"SMB: error {ctypes.get_errno()}")
    return result


must(smb.smbc_init(guest, 0))
O_RDWR_CREAT = 0o102
handle = -1
for line in sys.stdin:
    step, *words = line.rstrip("\n").split(" ", 3)
    if step == "open":
        handle = must(smb.smbc_open(f"{sys.argv[1]}/{line[5:].strip()}".encode(), O_RDWR_CREAT, 0o644))
    elif step == "size":
        must(smb.smbc_ftruncate(handle, int(words[0])))
    elif step == "write":
        offset, length = int(words[0]), int(words[1])
        with open(words[2], "rb") as local:
            content = local.read()[offset : offset + length]
        must(smb.smbc_lseek(handle, offset, 0))
        assert must(smb.smbc_write(handle, content, len(content))) == len(content)
    elif step == "close":
        must(smb.smbc_close(handle))
    else:
        sys.exit(f"unknown step: {line}")
    print("done", flush=True)
