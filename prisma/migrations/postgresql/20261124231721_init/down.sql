-- DropForeignKey
ALTER TABLE "chunks" DROP CONSTRAINT "chunks_upload_id_fkey";

-- DropTable
DROP TABLE "uploads";

-- DropTable
DROP TABLE "chunks";

-- DropTable
DROP TABLE "leases";
