-- DropTable
DROP TABLE "owner_usage";
