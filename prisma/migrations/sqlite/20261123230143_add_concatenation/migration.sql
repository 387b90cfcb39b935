-- AlterTable
ALTER TABLE "uploads" ADD COLUMN "concat" TEXT;
ALTER TABLE "uploads" ADD COLUMN "concat_key" TEXT;

-- CreateIndex
CREATE UNIQUE INDEX "uploads_concat_key_key" ON "uploads"("concat_key");
