# syntax=docker/dockerfile:1

# Debian's C library, and not Alpine's: what this project's tests run on.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# The packages in a layer of their own: it is built anew only when they change. Their install scripts are not
# needed, and some of them download.
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run generate && npm run build
# Prisma's command line and TypeScript would stay, as optional peers of its client: take them away first, and what
# only they need goes with them.
RUN rm -rf package-lock.json node_modules/.package-lock.json node_modules/prisma node_modules/typescript \
  && npm pkg delete devDependencies \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && mkdir /data

FROM ${NODE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="upload-server" \
      org.opencontainers.image.description="A self-hosted resumable upload server: tus 1.0 and a chunk-index REST API over one ledger" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

WORKDIR /app
# The program belongs to root, and its user can't change it.
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/prisma/migrations ./prisma/migrations
COPY --from=build /app/dist ./dist
# A volume that is mounted here for the first time takes over this owner.
COPY --from=build --chown=1000:1000 /data /data

ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATABASE_URL=file:/data/uploads.db \
    STORAGE_ROOT=/data/files

# By number, so that Kubernetes can see that it is not root.
USER 1000:1000
VOLUME ["/data"]
EXPOSE 8000

# Whether the process lives. Not /ready: a database that is away is no reason to start it anew.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# Node itself is the first process and hears the signal, so it drains. `docker stop` waits ten seconds unless it is
# told otherwise: give it more than SHUTDOWN_GRACE_SECONDS.
STOPSIGNAL SIGTERM
CMD ["node", "--enable-source-maps", "dist/main.js"]
