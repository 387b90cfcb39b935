-- DropTable
DROP TABLE "webhook_deliveries";
