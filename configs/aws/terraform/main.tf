# The cluster, the registry, the security group and the roles that configs/aws.toml names.

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  place            = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  ecs              = "arn:${data.aws_partition.current.partition}:ecs:${local.place}"
  tasks            = "${local.ecs}:task/${aws_ecs_cluster.builds.name}/*"
  task_definitions = "${local.ecs}:task-definition/${var.family}:*"
}

resource "aws_ecs_cluster" "builds" {
  name = "${var.name}-builds"
}

resource "aws_ecs_cluster_capacity_providers" "builds" {
  cluster_name       = aws_ecs_cluster.builds.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_ecr_repository" "build_image" {
  name                 = "${var.name}/build-image"
  image_tag_mutability = "IMMUTABLE"
}

# Nothing comes in. Out: web servers, for packages and repositories, and Kedge.
resource "aws_security_group" "builds" {
  name        = "${var.name}-builds"
  description = "Builds of Kedge"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "web" {
  security_group_id = aws_security_group.builds.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "kedge" {
  security_group_id = aws_security_group.builds.id
  cidr_ipv4         = var.kedge_cidr
  ip_protocol       = "tcp"
  from_port         = var.kedge_port
  to_port           = var.kedge_port
}

data "aws_iam_policy_document" "tasks_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-build-execution"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

data "aws_iam_policy_document" "execution" {
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.build_image.arn]
  }
  dynamic "statement" {
    for_each = var.registry_secret == null ? [] : [var.registry_secret]
    content {
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "pull-the-build-image"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "node" {
  statement {
    actions   = ["ecs:RunTask"]
    resources = [local.task_definitions]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.builds.arn]
    }
  }
  statement {
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = [local.tasks]
  }
  statement {
    actions   = ["ecs:ListTasks"]
    resources = ["*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.builds.arn]
    }
  }
  statement {
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = [local.task_definitions]
  }
  statement {
    actions   = ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"]
    resources = ["*"]
  }
  statement {
    actions   = ["ecs:TagResource"]
    resources = [local.tasks, local.task_definitions]
    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask", "RegisterTaskDefinition"]
    }
  }
  statement {
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.execution.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_policy" "node" {
  name   = "${var.name}-node"
  policy = data.aws_iam_policy_document.node.json
}
