output "database_address" {
  description = "Host and port of PostgreSQL."
  value       = aws_db_instance.main.endpoint
}

output "cache_address" {
  description = "Host of Redis."
  value       = aws_elasticache_replication_group.main.primary_endpoint_address
}

output "cloudfront_name" {
  description = "Point the domain at it."
  value       = aws_cloudfront_distribution.main.domain_name
}

output "backups_bucket" {
  description = "Where backups go."
  value       = aws_s3_bucket.backups.bucket
}

output "target_group" {
  description = "Servers register here."
  value       = aws_lb_target_group.server.arn
}
