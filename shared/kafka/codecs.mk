# Builds libz.a and libzstd.a, which librdkafka is linked with: make -f codecs.mk, in a directory that holds copies
# of their sources as `zlib` and `zstd` (make cannot work with a path that holds a space, as the original may).
CFLAGS = -O2 -fPIC -w
zlib_objects = $(patsubst %.c,%.o,$(wildcard zlib/*.c))
zstd_objects = $(patsubst %.c,%.o,$(wildcard zstd/common/*.c zstd/compress/*.c zstd/decompress/*.c)) \
	$(patsubst %.S,%.o,$(wildcard zstd/decompress/*.S))

all: libz.a libzstd.a

$(zlib_objects): CPPFLAGS = -DHAVE_UNISTD_H

libz.a: $(zlib_objects)
	$(AR) rcs $@ $^

libzstd.a: $(zstd_objects)
	$(AR) rcs $@ $^
