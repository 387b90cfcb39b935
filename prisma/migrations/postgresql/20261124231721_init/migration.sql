-- CreateTable
CREATE TABLE "uploads" (
    "id" TEXT NOT NULL,
    "owner_id" TEXT NOT NULL,
    "dialect" TEXT NOT NULL,
    "file_name" TEXT NOT NULL,
    "file_size" BIGINT,
    "chunk_size" BIGINT NOT NULL,
    "status" TEXT NOT NULL,
    "content_type" TEXT,
    "metadata" JSON NOT NULL,
    "concat" TEXT,
    "concat_key" TEXT,
    "checksum_sha256" TEXT,
    "offset" BIGINT NOT NULL DEFAULT 0,
    "append_offset" BIGINT,
    "stored_chunks" INTEGER NOT NULL DEFAULT 0,
    "storage_id" TEXT,
    "staged" BOOLEAN NOT NULL DEFAULT false,
    "failure_reason" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "deleted_at" TIMESTAMPTZ(3),

    CONSTRAINT "uploads_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "chunks" (
    "upload_id" TEXT NOT NULL,
    "chunk_index" INTEGER NOT NULL,
    "size" BIGINT NOT NULL,
    "status" TEXT NOT NULL,
    "checksum_sha256" TEXT,
    "storage_ref" TEXT,
    "retry_count" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "chunks_pkey" PRIMARY KEY ("upload_id","chunk_index")
);

-- CreateTable
CREATE TABLE "leases" (
    "upload_id" TEXT NOT NULL,
    "place" TEXT NOT NULL,
    "owner" TEXT NOT NULL,
    "token" TEXT NOT NULL,
    "expires_at_ms" BIGINT NOT NULL,
    "idle_since_ms" BIGINT,
    "wanted" BOOLEAN NOT NULL DEFAULT false,

    CONSTRAINT "leases_pkey" PRIMARY KEY ("upload_id","place")
);

-- CreateIndex
CREATE UNIQUE INDEX "uploads_concat_key_key" ON "uploads"("concat_key");

-- CreateIndex
CREATE INDEX "uploads_owner_id_created_at_id_idx" ON "uploads"("owner_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "uploads_owner_id_status_created_at_id_idx" ON "uploads"("owner_id", "status", "created_at", "id");

-- CreateIndex
CREATE INDEX "uploads_status_expires_at_idx" ON "uploads"("status", "expires_at");

-- CreateIndex
CREATE INDEX "uploads_deleted_at_idx" ON "uploads"("deleted_at");

-- CreateIndex
CREATE INDEX "leases_expires_at_ms_idx" ON "leases"("expires_at_ms");

-- AddForeignKey
ALTER TABLE "chunks" ADD CONSTRAINT "chunks_upload_id_fkey" FOREIGN KEY ("upload_id") REFERENCES "uploads"("id") ON DELETE CASCADE ON UPDATE CASCADE;
