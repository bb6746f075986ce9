variable "name" {
  description = "Prefix of every name."
  type        = string
  default     = "parapet"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "name must be 2 to 21 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Region of everything but CloudFront."
  type        = string
  default     = "eu-west-1"
}

variable "zones" {
  description = "Two availability zones of the region."
  type        = list(string)
  default     = ["eu-west-1a", "eu-west-1b"]

  validation {
    condition     = length(var.zones) == 2
    error_message = "zones must name two availability zones."
  }
}

variable "network" {
  description = "The address range of the VPC, a /16."
  type        = string
  default     = "10.40.0.0/16"
}

variable "domain" {
  description = "Public name of the service."
  type        = string
}

variable "certificate_arn" {
  description = "Certificate of the domain in the region of the VPC, for the load balancer."
  type        = string
}

variable "global_certificate_arn" {
  description = "Certificate of the domain in us-east-1, for CloudFront."
  type        = string
}

variable "blocked_countries" {
  description = "ISO 3166 codes of countries whose requests are refused."
  type        = list(string)
  default     = []
}

variable "requests_per_five_minutes" {
  description = "Requests of one address in five minutes, before it is blocked."
  type        = number
  default     = 2000
}

variable "shield_advanced" {
  description = "Whether CloudFront gets Shield Advanced. It has a monthly price; Shield Standard is always on."
  type        = bool
  default     = false
}

variable "database_instance_class" {
  description = "Size of the database."
  type        = string
  default     = "db.m7g.large"
}

variable "cache_node_type" {
  description = "Size of Redis."
  type        = string
  default     = "cache.m7g.large"
}

variable "cache_auth_token" {
  description = "Password of Redis, 64 letters and digits: openssl rand -hex 32. Pass it as TF_VAR_cache_auth_token."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.cache_auth_token) >= 64
    error_message = "cache_auth_token must have at least 64 characters."
  }
}

variable "origin_secret" {
  description = "What CloudFront proves itself with to the load balancer: openssl rand -hex 32. Pass it as TF_VAR_origin_secret."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.origin_secret) >= 64
    error_message = "origin_secret must have at least 64 characters."
  }
}
