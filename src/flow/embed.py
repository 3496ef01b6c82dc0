"""A file as C: python3 embed.py FILE OUT HEADER NAME writes OUT, which includes HEADER and defines `struct bytes NAME`."""

import sys


def main():
    path, out, header, name = sys.argv[1:]
    with open(path, "rb") as file:
        data = file.read()
    rows = [", ".join(str(byte) for byte in data[at:at + 24]) for at in range(0, len(data), 24)]
    with open(out, "w", encoding="ascii") as file:
        file.write(f'#include "{header}"\n\nstatic const unsigned char data[] = {{\n')
        file.writelines(f"    {row},\n" for row in rows)
        file.write(f"}};\n\nconst struct bytes {name} = {{(const char *)data, sizeof(data)}};\n")


if __name__ == "__main__":
    main()
