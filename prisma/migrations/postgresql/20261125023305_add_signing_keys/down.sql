-- DropTable
DROP TABLE "signing_keys";
