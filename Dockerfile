# The image of Mayfly: the binary, the jail's tree, and nothing else. No shell, no package manager, no interpreter
# that could be started: the CPython that runs scripts is linked into the one program.
#
#   docker build --build-arg VARIANT=slim    -t mayfly .           the standard library
#   docker build --build-arg VARIANT=datasci -t mayfly:datasci .   and python/requirements*.txt
#
# How to run it is in deploy/README.md. Nothing here needs BuildKit.

# Every stage that compiles starts from this. A release passes the same name with a digest.
ARG BASE=debian:13-slim
ARG VARIANT=slim

# ---- What is needed to build -----------------------------------------------------------------------------------------

# The compiler, the interpreter and its headers are Debian's own: one release gives all three, and they fit.
FROM ${BASE} AS toolchain
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        build-essential ca-certificates cargo-web python3 python3-dev python3-venv rustc-web \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# ---- Python packages, fetched once per change of the requirements ----------------------------------------------------

FROM toolchain AS packages
ARG VARIANT
COPY python/ python/
# `slim` has the time zones only, which the standard library takes from a package.
RUN set -eu; \
    case "$VARIANT" in \
        slim) grep '^tzdata==' python/requirements.txt > requirements.txt ;; \
        datasci) cat python/requirements.txt python/requirements-datasci.txt > requirements.txt ;; \
        *) echo "VARIANT is $VARIANT; it can be slim or datasci" >&2; exit 1 ;; \
    esac; \
    mkdir wheels; \
    python3 -m venv pip; \
    pip/bin/pip download --quiet --disable-pip-version-check --only-binary=:all: --dest wheels --requirement requirements.txt

# ---- The binary and the jail's tree ----------------------------------------------------------------------------------

FROM toolchain AS build
# The dependencies by themselves first: a change in src/ then compiles src/ alone.
COPY Cargo.toml Cargo.lock ./
COPY tests/driver/Cargo.toml tests/driver/
# How CPython is linked: its archive becomes part of the program, as in every other build.
COPY tools/python.sh tools/python_env.sh tools/sha2module.c tools/
# The tests are named in Cargo.toml and stay outside: a stand-in for them too.
RUN mkdir -p src tests/it tests/driver/src \
 && echo 'fn main() {}' | tee build.rs tests/it/main.rs tests/driver/src/lib.rs src/main.rs > src/lib.rs \
 && environment="$(tools/python_env.sh)" && eval "$environment" \
 && cargo build --release --locked
# cargo goes by the files' dates, and the real ones may be older than the stand-ins just compiled.
RUN cargo clean --release --package mayfly && rm -rf src build.rs
COPY build.rs ./
COPY build/ build/
COPY seccomp/ seccomp/
COPY src/ src/
COPY python/ python/
RUN environment="$(tools/python_env.sh)" && eval "$environment" \
 && cargo build --release --locked \
 && strip --strip-debug target/release/mayfly
COPY tools/jail_root.py tools/
COPY --from=packages /build/requirements.txt ./
COPY --from=packages /build/wheels wheels/
RUN environment="$(tools/python_env.sh)" && eval "$environment" \
 && PIP_NO_INDEX=1 PIP_FIND_LINKS=/build/wheels "$PYO3_PYTHON" tools/jail_root.py \
        --requirements requirements.txt --binary target/release/mayfly target/jail
# The image's root. Its libraries *are* the jail's: the same files serve the program and, read-only, its scripts, so
# each is in the image, and in memory, once.
RUN set -eu; \
    root=/image; \
    mkdir -p $root/usr/local/bin $root/usr/local/lib/mayfly $root/etc $root/dev $root/proc $root/sys; \
    mkdir -m 1777 $root/tmp; \
    cp target/release/mayfly $root/usr/local/bin/mayfly; \
    cp -a target/jail $root/usr/local/lib/mayfly/jail; \
    ln -s local/lib/mayfly/jail/usr/lib $root/usr/lib; \
    ln -s usr/lib $root/lib; \
    [ ! -e target/jail/usr/lib64 ] || { ln -s local/lib/mayfly/jail/usr/lib64 $root/usr/lib64; ln -s usr/lib64 $root/lib64; }; \
    printf 'root:x:0:0:root:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n' > $root/etc/passwd; \
    printf 'root:x:0:\nnogroup:x:65534:\n' > $root/etc/group; \
    chroot $root /usr/local/bin/mayfly --version

# ---- The image -------------------------------------------------------------------------------------------------------

FROM scratch AS slim
ARG VARIANT
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Mayfly" \
      org.opencontainers.image.description="Runs untrusted Python over HTTP: a warm CPython forked into a prepared jail, one child per request" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.ref.name="${VARIANT}"
COPY --from=build /image/ /
# PORT, not MAYFLY_LISTEN, which would win: platforms that choose the port say so by setting PORT.
ENV PATH=/usr/local/bin \
    PORT=8080
# By number: Kubernetes' runAsNonRoot can't tell whether a name is root.
USER 65534:65534
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/mayfly", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mayfly"]
CMD ["serve"]

FROM slim AS datasci
# What takes a script a quarter of a second and more to import. Scripts that name none of the packages come from the
# other zygote, which has none of it.
ENV MAYFLY_PRELOAD=numpy,pandas,scipy.stats,scipy.optimize,sklearn.linear_model,matplotlib.pyplot,sympy

FROM ${VARIANT}
