variable "name" {
  type        = string
  default     = "kedge"
  description = "Prefix of everything that is made."
}

variable "vpc_id" {
  type        = string
  description = "The VPC that builds run in."
}

variable "kedge_cidr" {
  type        = string
  description = "Where builds reach Kedge, such as 203.0.113.7/32."
}

variable "kedge_port" {
  type        = number
  default     = 443
  description = "The port of Kedge's URL."
}

variable "family" {
  type        = string
  default     = "kedge-build"
  description = "As compute.ecs.family."
}

variable "registry_secret" {
  type        = string
  default     = null
  description = "As compute.ecs.registry_credentials, for an image in a registry other than ECR."
}
