output "cluster" {
  value       = aws_ecs_cluster.builds.name
  description = "compute.ecs.cluster"
}

output "image_repository" {
  value       = aws_ecr_repository.build_image.repository_url
  description = "Where to push the build image; compute.ecs.image with a tag."
}

output "execution_role" {
  value       = aws_iam_role.execution.arn
  description = "compute.ecs.execution_role"
}

output "security_group" {
  value       = aws_security_group.builds.id
  description = "compute.ecs.network.security_groups"
}

output "node_policy" {
  value       = aws_iam_policy.node.arn
  description = "To attach to the role of Kedge's nodes."
}
